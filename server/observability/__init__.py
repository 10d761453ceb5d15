"""What can be seen of a process from outside: metrics, logs, loop lag, systemd, a turn's waterfall."""
