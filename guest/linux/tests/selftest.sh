#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Tests the driver from inside a guest that has a pvsched device; TAP output.
#
#   selftest.sh [-m MODULE.ko] [-n ROUNDS] [-t bar|gpa] [-s]
#
# Without -m the module must be installed. -s also suspends, as far as
# pm_test goes without the firmware. Runs with busybox. Exit status: 0 all passed, 1 a failure, 4 skipped.
# What needs the host (plugging, areas that come and go) is the lab's.
set -u

module='' rounds=20 transport=bar sleeps=''
while getopts m:n:t:s option; do
	case $option in
	m) module=$OPTARG ;;
	n) rounds=$OPTARG ;;
	t) transport=$OPTARG ;;
	s) sleeps=1 ;;
	*) exit 2 ;;
	esac
done

tests=0 failed=0 load_pid=''
driver=/sys/bus/pci/drivers/pvsched
params=/sys/module/pvsched/parameters

skip_all() {
	echo "1..0 # SKIP $1"
	exit 4
}

# result NAME STATUS: a failed test's reason is what it printed before, as "#".
result() {
	tests=$((tests + 1))
	if [ "$2" -eq 0 ]; then
		echo "ok $tests $1"
	else
		failed=$((failed + 1))
		echo "not ok $tests $1"
	fi
}

note() {
	echo "# $*"
	return 1
}

load() {
	if [ -n "$module" ]; then
		insmod "$module" "transport=$transport"
	else
		modprobe pvsched "transport=$transport"
	fi
}

device() {
	set -- "$driver"/*:*
	[ -d "$1" ] && echo "$1"
}

# shows FILE PATTERN [TENTHS]: the attribute comes to match within the time.
shows() {
	left=${3:-50}
	while [ "$left" -gt 0 ]; do
		dev=$(device)
		# shellcheck disable=SC2254 # a pattern on purpose
		case $(cat "$dev/$1" 2>/dev/null) in
		$2) return 0 ;;
		esac
		left=$((left - 1))
		sleep 0.1
	done
	note "$1 is '$(cat "$dev/$1" 2>&1)', not '$2'"
}

load_on() {
	(
		trap 'exit 0' TERM
		while :; do
			if command -v hackbench >/dev/null; then
				hackbench -g 1 -l 50 >/dev/null 2>&1
			else
				(: | : | :) & (: | :) & wait
			fi
		done
	) &
	load_pid=$!
}

load_off() {
	kill "$load_pid" 2>/dev/null
	wait "$load_pid" 2>/dev/null
	load_pid=''
}

kernel_is_well() {
	complaint=$(dmesg | grep -E 'BUG:|WARNING:|Oops|general protection|Call Trace|stall|use-after-free' | head -n 3)
	[ -z "$complaint" ] || note "$complaint"
}

test_loads() {
	load && shows pvsched/status 0xf && shows pvsched/transport "$transport" &&
		shows pvsched/transport_result '[ow]*' # ok, waiting
}

test_slots() {
	for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
		[ "$(cat "$cpu/online" 2>/dev/null || echo 1)" = 1 ] || continue
		shows "${cpu##*/}/slot" '[0-9]*' || return 1
	done
}

# The word's low byte: the policy of the current task.
test_tells_fifo() {
	chrt -f 42 taskset 2 sh -c 'while :; do :; done' &
	spinner=$!
	shows cpu1/intent '0x????????002a??01'
	told=$?
	kill "$spinner"
	wait "$spinner" 2>/dev/null
	[ "$told" -eq 0 ] || return 1
	shows cpu1/intent '0x????????0000??00'
}

# No switch tells of this one: the tick does.
test_tells_own_change() {
	taskset 2 sh -c 'while :; do :; done' &
	spinner=$!
	shows cpu1/intent '0x80??????0000??00' && chrt -f -p 33 $spinner >/dev/null &&
		shows cpu1/intent '0x????????0021??01'
	told=$?
	kill "$spinner"
	wait "$spinner" 2>/dev/null
	return $told
}

test_tells_idle() {
	shows cpu1/intent '0x81??????????????' 100
}

# No bit sticks: each CPU comes to be idle, and an idle CPU tells nothing else.
test_settles() {
	for cpu in 0 1; do
		[ "$(cat "$(device)/pvsched/bound")" = 1 ] || return 0
		shows "cpu$cpu/intent" '0x8100??0000??00??' 200 || return 1
	done
}

test_filters() {
	chrt -f 42 taskset 2 sh -c 'while :; do :; done' &
	spinner=$!
	status=0
	for setting in allow=critical,idle rt_min=43 comms=nobody; do
		file=$params/${setting%%=*}
		before=$(cat "$file")
		echo "${setting#*=}" >"$file" || status=1
		shows cpu1/intent '0x????????0000??00' || status=1
		echo "$before" >"$file" || status=1
		shows cpu1/intent '0x????????002a??01' || status=1
	done
	kill "$spinner"
	wait "$spinner" 2>/dev/null
	return $status
}

test_bad_parameters() {
	for setting in allow=nonsense rt_min=0 rt_min=101 nice_max=20 comms=a_name_of_sixteen_; do
		(echo "${setting#*=}" >"$params/${setting%%=*}") 2>/dev/null &&
			note "$setting was taken" && return 1
	done
	return 0
}

test_reload() {
	i=0
	while [ $i -lt "$rounds" ]; do
		{ rmmod pvsched && load; } || { note "round $i"; return 1; }
		i=$((i + 1))
	done
	shows pvsched/status 0xf
}

test_rebind() {
	i=0
	while [ $i -lt "$rounds" ]; do
		name=$(basename "$(device)")
		{ echo "$name" >$driver/unbind && echo "$name" >$driver/bind; } ||
			{ note "round $i"; return 1; }
		i=$((i + 1))
	done
	shows pvsched/status 0xf
}

test_cpus() {
	online=/sys/devices/system/cpu/cpu1/online
	i=0
	while [ $i -lt "$rounds" ]; do
		{ echo 0 >$online && echo 1 >$online; } || { note "round $i"; return 1; }
		i=$((i + 1))
	done
	echo 0 >$online
	shows cpu1/slot -1 || return 1
	echo 1 >$online
	[ "$(cat "$(device)/pvsched/bound")" = 0 ] || shows cpu1/slot 1
}

test_cpus_and_reload() {
	(
		while :; do
			echo 0 >/sys/devices/system/cpu/cpu1/online
			echo 1 >/sys/devices/system/cpu/cpu1/online
		done
	) 2>/dev/null &
	flipper=$!
	i=0 status=0
	while [ $i -lt 5 ]; do
		{ rmmod pvsched && load; } || status=1
		i=$((i + 1))
	done
	kill $flipper
	wait $flipper 2>/dev/null
	echo 1 >/sys/devices/system/cpu/cpu1/online 2>/dev/null
	return $status
}

test_sleep() {
	for level in devices core; do # "core" takes the other CPUs down, too
		{ echo $level >/sys/power/pm_test && echo mem >/sys/power/state; } ||
			{ note "up to $level"; return 1; }
	done
	echo none >/sys/power/pm_test
	shows pvsched/status 0xf
}

test_no_errors() {
	shows pvsched/guest_errors 0
}

test_unloads() {
	rmmod pvsched && [ ! -d $driver ]
}

run() {
	"test_$1"
	result "$1" $?
}

[ "$(id -u)" = 0 ] || skip_all "not root"
grep -q 1af410f5 /proc/bus/pci/devices || skip_all "no pvsched device"
[ -d $driver ] && { rmmod pvsched || skip_all "pvsched is in use"; }

run loads
if [ "$(cat "$(device)/pvsched/bound" 2>/dev/null)" = 1 ]; then
	run slots
	[ -d /sys/devices/system/cpu/cpu1 ] && for name in tells_idle tells_fifo tells_own_change filters; do run $name; done
else
	echo "# the host gave no areas: intents are not tested"
fi
run bad_parameters
load_on
run reload
run rebind
if [ -w /sys/devices/system/cpu/cpu1/online ]; then
	run cpus
	run cpus_and_reload
fi
load_off
run settles
if [ -n "$sleeps" ]; then
	run sleep
	run settles
fi
run no_errors
run unloads
kernel_is_well
result kernel_is_well $?
echo "1..$tests"
[ $failed -eq 0 ]
