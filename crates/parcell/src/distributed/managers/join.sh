# Becomes a worker on a host that has the driver's files at the driver's place. The lines before this
# one have set: program, features (of the driver's processor), dir, and ticket (a file) if it does not
# come on standard input.
lacks=
for f in $features; do grep -qw "$f" /proc/cpuinfo || lacks="$lacks $f"; done
[ -z "$lacks" ] || { echo "parcell: lacks$lacks"; exit 3; }
[ -x "$program" ] || { echo "parcell: fails $(hostname) has no $program; put the cell library where all hosts see it, as in \`parcell install --prefix\`, or say \`--copy\` to Slurm in an allocation"; exit 3; }
[ -z "$dir" ] || cd "$dir" || { echo "parcell: fails $(hostname) has no folder $dir"; exit 3; }
[ -z "$ticket" ] || export PARCELL_TICKET="$ticket"
: "${PARCELL_RANK:=${OMPI_COMM_WORLD_RANK:-${PMIX_RANK:-${PMI_RANK:-${SLURM_PROCID:-0}}}}}"
PARCELL_WORKER=join
export PARCELL_RANK PARCELL_WORKER
exec "$program"
