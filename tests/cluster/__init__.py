"""Clusters on one machine: hosts with a network of their own, schedulers, MPI. See README.md."""
