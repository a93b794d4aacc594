"""JupyterHub where each user's server is a job of Slurm."""

import socket

import batchspawner  # noqa: F401, tells the hub on which port a job listens

c = get_config()  # noqa: F821

# A web server with a certificate stands before it.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.ConfigurableHTTPProxy.command = ["/opt/jupyterhub/bin/configurable-http-proxy"]

# Jobs call the hub, from any node.
c.JupyterHub.hub_ip = "0.0.0.0"
c.JupyterHub.hub_connect_ip = socket.gethostname()

# Whoever has an account may log in, with the password of the account.
c.JupyterHub.authenticator_class = "pam"
c.Authenticator.allow_all = True
c.PAMAuthenticator.open_sessions = False

c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"
c.Spawner.default_url = "/lab"
c.Spawner.cmd = ["/opt/jupyterhub/bin/jupyterhub-singleuser"]
c.Spawner.http_timeout = 120
c.BatchSpawnerBase.batchspawner_singleuser_cmd = "/opt/jupyterhub/bin/batchspawner-singleuser"
# The hub runs as root, and jobs as their user.
c.BatchSpawnerBase.exec_prefix = "runuser -u {username} --"
c.BatchSpawnerBase.req_partition = "debug"
c.BatchSpawnerBase.req_runtime = "60"
# Tasks are processes: the server, and room for three workers.
c.BatchSpawnerBase.req_options = "--ntasks=4"
# Not a step of its own, which would keep what `%workers --manager slurm` asks for.
c.SlurmSpawner.req_srun = ""
# Sockets and keys lie on the node, not in the home, and end with the job. And what `srun` starts in
# the job gets the job's whole environment, not only what the hub gave it.
c.BatchSpawnerBase.req_prologue = """\
export SLURM_EXPORT_ENV=ALL
export JUPYTER_RUNTIME_DIR=$(mktemp -d)
trap 'rm -rf "$JUPYTER_RUNTIME_DIR"' EXIT
"""
