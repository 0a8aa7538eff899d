#!/bin/sh
# The users, before the files that belong to them.
set -e
for user in netmon netmon-server; do
	if grep -q "^$user:" /etc/passwd; then
		continue
	fi
	if command -v useradd >/dev/null; then
		useradd --system --user-group --no-create-home --home-dir "/var/lib/$user" --shell /usr/sbin/nologin "$user"
	else # BusyBox
		addgroup -S "$user"
		adduser -S -D -H -h "/var/lib/$user" -s /sbin/nologin -G "$user" "$user"
	fi
done
