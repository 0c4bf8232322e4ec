import os

trees = [line.split()[1] for line in open("/proc/mounts")
         if line.split()[2] == "cgroup2" or line.split()[2] == "cgroup" and "pids" in line.split()[1]]
for tree in trees:
    os.chdir(tree)
    made = 0
    try:
        while made < 300:
            os.mkdir("n")
            os.chdir("n")
            made += 1
    except OSError as why:
        print(tree, why)
    if made > 100:
        print("REACHED", tree, made, "deep")
print("tried")
