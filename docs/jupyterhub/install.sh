#!/bin/bash
# Installs Rust, JupyterHub and parcell for all users of this machine. Run it as root, while the
# machine has internet; run it again to update.
#
#   install.sh PARCELL    where PARCELL is the built program, target/release/parcell
set -euo pipefail
umask 022
files=$(cd "$(dirname "$0")" && pwd)
parcell=$1

# Users read Rust here, and cargo finds here what the admin has fetched. Nobody but root writes.
export RUSTUP_HOME=/opt/rust/rustup CARGO_HOME=/opt/rust/cargo
if [ ! -x $CARGO_HOME/bin/rustc ]; then
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs \
    | sh -s -- -y --no-modify-path --profile minimal --component rust-src
fi
# Cargo would remove what nobody with write access has used for three months.
cp "$files/cargo.toml" $CARGO_HOME/config.toml

if [ ! -x /opt/jupyterhub/bin/jupyterhub ]; then
  python3 -m venv /opt/jupyterhub
  /opt/jupyterhub/bin/pip install --quiet -r "$files/requirements.txt"
fi
mkdir -p /opt/jupyterhub/etc/jupyter
cp "$files/jupyter_server_config.py" /opt/jupyterhub/etc/jupyter/

# The kernel, and the library that cells use, built once for all.
"$parcell" install --prefix /opt/jupyterhub

# The hub's own secrets and its database.
mkdir -p -m 700 /srv/jupyterhub
