#!/bin/bash
# The first process of a host: it stands in fresh namespaces, waits until its network card is
# there, gives the host its files and its sshd, and then only reaps what others leave.
#
#   host.sh FOLDER NAME ADDRESS HOME ROOT [SHARED...]
#
# FOLDER/etc has the files that differ from the machine's. ROOT is / for the host that shares the
# machine's files, else the folder that becomes its root: then of the machine's files only the
# system's own are there, read-only, and the folders SHARED. Every mount ends with the namespace.
set -eu
folder=$1 name=$2 address=$3 home=$4 root=${5%/}
shift 5

give_system() { # what an installed Debian has, and empty folders for the rest
  mkdir -p "$root"/{etc,dev,proc,sys,usr,run/sshd,tmp,var/tmp,var/empty,mnt,opt,srv} "$root/$home"
  chmod 1777 "$root"/{tmp,var/tmp}
  ln -s /run "$root/var/run"
  for part in /bin /sbin /lib*; do
    if [ -L "$part" ]; then cp -P "$part" "$root$part"; continue; fi
    mkdir "$root$part" && mount -o bind,ro "$part" "$root$part"
  done
  mount -o bind,ro /usr "$root/usr"
  mount -o bind,ro /etc "$root/etc"
  mount -t tmpfs -o ro none "$root/usr/local"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs none "$root/dev/shm"
}

share() {
  for path; do
    if [ -d "$path" ]; then mkdir -p "$root$path"; else install -D /dev/null "$root$path"; fi
    mount --bind "$path" "$root$path"
  done
}

give_identity() { # a name, an id of this boot, users, keys
  hostname "$name"
  mount -t proc proc "$root/proc"
  mount --bind "$folder/boot_id" "$root/proc/sys/kernel/random/boot_id"
  for path in "$folder"/etc/*; do
    [ ! -e "$root/etc/${path##*/}" ] || mount --bind "$path" "$root/etc/${path##*/}"
  done
}

# Runs inside the host's root: a compiler's name is there, but it cannot be started.
hide_compilers() {
  for tool in rustc cargo rustup cc c++ gcc g++ clang clang++ ld lld as; do
    if path=$(command -v $tool); then mount --bind /dev/null "$(readlink -f "$path")"; fi
  done
}

live() {
  /usr/sbin/sshd -f /etc/ssh/sshd_config
  echo ready
  sleep infinity &
  while true; do wait || true; done
}

echo born
read -r _
ip link set lo up
ip link set eth0 up
ip address add "$address/24" dev eth0
if [ -n "$root" ]; then
  give_system
  share "$@"
  give_identity
  hide=hide_compilers
else
  give_identity
  mount -t tmpfs none /run
  mkdir /run/sshd
  hide=true
fi
export HOME=$home PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec chroot "$root/" /bin/bash -c "set -eu; cd /; $(declare -f hide_compilers live); $hide; live"
