"""For each user's server."""

c = get_config()  # noqa: F821

# Kernels talk with the server through files that only their user can open. On TCP ports, the
# default, whoever is logged in on the same machine could read what cells print.
c.KernelManager.transport = "ipc"
