#!/bin/bash
# Everything a container would say, and a pause about as long as one would take.
say() {
    printf '%s\n' "Output Subtask $1" "Process PID: $2" "Child Process PID: $3" "_ _ _ _ _ _ _ _ _ _ _ _ _ _" \
        "Files/Directories in root directory:" lib64 container_prog .. . lib "_ _ _ _ _ _ _ _ _ _ _ _ _ _"
}
compute() {
    sleep "$1"
    printf '%s\n' "Computation Benchmark:" "Time Taken: ${1/./} ms" "Value (Ignore): 107375219085276240"
}
say 2a $$ $(($$ + 1))
echo __________________________________________
say 2b 1 2
echo "Hostname within container: new_hostname"
compute 0.640
echo "Hostname in the host: $(hostname)"
echo __________________________________________
say 2c 1 2
compute 1.280
