"""JupyterHub where each user's server is a process of this machine."""

import os
import pwd
import shutil
from pathlib import Path

c = get_config()  # noqa: F821

# A web server with a certificate stands before it.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.ConfigurableHTTPProxy.command = ["/opt/jupyterhub/bin/configurable-http-proxy"]

# Whoever has an account may log in, with the password of the account.
c.JupyterHub.authenticator_class = "pam"
c.Authenticator.allow_all = True
c.PAMAuthenticator.open_sessions = False

c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
c.Spawner.cmd = ["/opt/jupyterhub/bin/jupyterhub-singleuser"]
c.Spawner.default_url = "/lab"


def runtime_folder(spawner):
    """Sockets and keys lie on the machine itself, not in a home that may be on another."""
    return Path("/run/jupyter") / spawner.user.name


def give_runtime_folder(spawner):
    folder, user = runtime_folder(spawner), pwd.getpwnam(spawner.user.name)
    folder.parent.mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, user.pw_uid, user.pw_gid)
    spawner.environment["JUPYTER_RUNTIME_DIR"] = str(folder)


def take_runtime_folder(spawner):
    shutil.rmtree(runtime_folder(spawner), ignore_errors=True)


c.Spawner.pre_spawn_hook = give_runtime_folder
c.Spawner.post_stop_hook = take_runtime_folder
