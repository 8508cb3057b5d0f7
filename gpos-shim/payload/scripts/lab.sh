# What the laboratory's scripts share. The programs are Debian's own, below /lab/bin.

# cyclictest_for N: N periods of 1 ms at priority 95, memory locked, nanoseconds. The result is a file. Its
# main thread, which sets up before and prints after, is nice to nobody, so that the load can go on around
# all of it: measured, among eighty processes its start else takes longer than the measurement.
cyclictest_for() {
    /lab/bin/nice -n -20 /lab/bin/cyclictest -m -p 95 -i 1000 -l "$1" -q -N -h 1500000 \
        --json=/tmp/cyclictest.json > /tmp/cyclictest.text 2>&1 ||
        say "cyclictest failed: $(head -n 1 /tmp/cyclictest.text)"
}

# print_cyclictest PHASE: each line of the result behind a word that no kernel message begins with.
print_cyclictest() {
    sed "s/^/DARMA-CYCLICTEST $1 /" /tmp/cyclictest.json
    echo "DARMA-CYCLICTEST $1 end"
    rm -f /tmp/cyclictest.json
}

# start_whole_load: hackbench, message passing, loopback network, page faults, disk, processor.
start_whole_load() {
    if [ -x /lab/bin/hackbench ]; then
        (while :; do /lab/bin/hackbench -g 2 -f 10 -l 100 > /dev/null; done) &
        HACKBENCH=$!
    else
        say "there is no hackbench here: the load goes without"
        HACKBENCH=
    fi
    start_load forever --network 2 --memory 1
}

stop_whole_load() {
    [ -n "$HACKBENCH" ] && kill "$HACKBENCH" 2>/dev/null
    killall hackbench 2>/dev/null
    stop_load
}
