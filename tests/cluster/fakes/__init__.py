"""Stand-ins for the commands of PBS, LSF and HTCondor, which Debian does not have: as far as somebody
sees who submits, looks and cancels."""
