# What the scripts share. Sourced by /init.

# option NAME DEFAULT: the value of NAME=value on the kernel command line.
option() {
    for word in $(cat /proc/cmdline); do
        case "$word" in
            "$1="*) echo "${word#*=}"; return ;;
        esac
    done
    echo "$2"
}

# words A,B,C: the same with blanks.
words() {
    echo "$1" | tr ',' ' '
}

# word N A,B,C: the Nth, from 1; empty past the end.
word() {
    echo "$2" | cut -d, -f"$1" -s | head -n 1
}

# count A,B,C
count() {
    words "$1" | wc -w
}

say() {
    echo "DARMA $*"
}

# Without Darma underneath there is nobody to tell, and the scripts go on.
mark() {
    darma mark --if-present "$1"
}

set_sysctl() {
    [ -w "/proc/sys/$1" ] && echo "$2" > "/proc/sys/$1"
}

load_drivers() {
    find /sys/devices -name modalias -exec cat {} + 2>/dev/null | sort -u |
        while read -r alias; do modprobe -q -b "$alias" 2>/dev/null; done
}

slow_controller() {
    for host in /sys/class/scsi_host/* /sys/class/mmc_host/*; do
        [ -e "$host" ] && return
    done
    return 1
}

# The disk for the load: the first of the usual kinds that does not become ready within 3 s is none.
find_disk() {
    wanted=$(option darma.disk auto)
    [ "$wanted" = none ] && return
    tries=0
    while [ $tries -lt 30 ]; do
        if [ "$wanted" = auto ]; then
            for disk in vda sda mmcblk0 nvme0n1; do
                [ -b "/dev/$disk" ] && { echo "/dev/$disk"; return; }
            done
        elif [ -b "$wanted" ]; then
            echo "$wanted"
            return
        fi
        # No controller that finds its disks late: nothing to wait for.
        [ "$wanted" = auto ] && ! slow_controller && return
        usleep 100000
        tries=$((tries + 1))
    done
}

# start_load SECONDS|forever [OPTIONS]: hackbench-like processes, disk and processor, in the background,
# and what further options of `darma load` ask for.
start_load() {
    seconds=$1
    shift
    set -- --procs "$(option darma.procs 10)" --spin "$(option darma.spin 1)" "$@"
    [ "$seconds" = forever ] || set -- "$@" --seconds "$seconds"
    disk=$(find_disk)
    [ -n "$disk" ] && set -- "$@" --disk "$disk"
    # The disk is the demonstration's own image; only there may it be written to.
    [ -n "$disk" ] && [ "$(option darma.overwrite 0)" = 1 ] && set -- "$@" --overwrite
    say "load: darma load $*"
    darma load "$@" &
    LOAD=$!
}

stop_load() {
    kill "$LOAD" 2>/dev/null
    wait "$LOAD" 2>/dev/null
}

# The test module taints the kernel and says so, hence only where it is used.
load_fault_module() {
    modprobe -q darma_fault || say "there is no test module; sysrq-c and reset work without"
}

crash() {
    say "crash: $1"
    darma crash "$1"
    say "crash $1 did not happen"
}

BOOT=$(option darma.boot 1)
