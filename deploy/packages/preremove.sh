#!/bin/sh
# $1 says whether this is a removal: "remove" to dpkg, 0 to rpm, nothing to apk.
set -e
case "${1:-0}" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now netmon-sensor.service netmon-server.service || true
	fi
	;;
esac
