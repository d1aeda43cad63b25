#!/bin/sh
# Prints how Nginx loads its modules: those in MODULES, as for `lbd test --modules`, or those that Debian has enabled;
# elsewhere there are none, or they are built in. Not both: Nginx refuses to load one twice.
set -eu
[ -n "${MODULES:-}" ] || {
	echo 'include /etc/nginx/modules-enabled/*.conf;'
	exit
}
said=$(nginx -V 2>&1)
folder=${said#*--modules-path=}
folder=${folder%% *}
IFS=,
for module in $MODULES; do
	case $module in
	*/*) ;;
	*.*) module=$folder/$module ;;
	*) module=$folder/$module.so ;;
	esac
	echo "load_module $module;"
done
