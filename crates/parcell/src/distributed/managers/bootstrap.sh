# Starts workers on a host that may have nothing but a shell and coreutils. The lines before this one
# have set: program and sums (what the driver runs, and the checksums of its files), digest (names
# these files by what is in them), features (of the processor), needs (names and sizes of the files),
# dir (where the workers are to run; the home folder if empty).
lacks=
for f in $features; do grep -qw "$f" /proc/cpuinfo || lacks="$lacks $f"; done
[ -z "$lacks" ] || { echo "parcell: lacks$lacks"; exit 3; }
same() { [ -x "$program" ] && [ "$(cksum $files 2>/dev/null | cut -d' ' -f1,2 | tr '\n' ,)" = "$sums" ]; }
if ! same; then
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/parcell/hosts
  mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || cache=${TMPDIR:-/tmp}/parcell-$(id -u)
  mkdir -p -m 700 "$cache" || { echo "parcell: fails no folder $cache can be made"; exit 3; }
  [ -O "$cache" ] || { echo "parcell: fails $cache belongs to somebody else"; exit 3; }
  program=$cache/$digest/$name
  if ! [ -e "$cache/$digest/complete" ]; then
    echo "parcell: wants"
    new=$cache/$digest.$$
    mkdir -p "$new" || exit 3
    set -- $needs
    while [ $# -gt 0 ]; do
      head -c "$2" > "$new/$1" || { echo "parcell: fails $new/$1 cannot be written"; rm -rf "$new"; exit 3; }
      [ "$(wc -c < "$new/$1")" -eq "$2" ] || { rm -rf "$new"; exit 3; }
      shift 2
    done
    chmod 700 "$new/$name" && : > "$new/complete"
    mv "$new" "$cache/$digest" 2>/dev/null || rm -rf "$new"
  fi
fi
[ -z "$dir" ] || cd "$dir" || { echo "parcell: fails there is no folder $dir"; exit 3; }
echo "parcell: ready"
PARCELL_WORKER=crew
export PARCELL_WORKER
exec "$program"
