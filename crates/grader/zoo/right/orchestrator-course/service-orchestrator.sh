#!/bin/bash
# Deploys the counter in c2 and the page in c1.

# Step 1: the image
sudo ./conductor.sh build service-image

# Step 2: the containers
sudo ./conductor.sh run service-image c1 -- sleep infinity &
sudo ./conductor.sh run service-image c2 -- sleep infinity &
sleep 8

# Step 3: the services' files
cp -r external-service .containers/c1/rootfs/
cp -r counter-service .containers/c2/rootfs/

# Step 4: the networks
sudo ./conductor.sh addnetwork c1 -i -e 8080-3000
sudo ./conductor.sh addnetwork c2 -i
sudo ./conductor.sh peer c1 c2

# Step 5: where c2 is
C2_IP=$(sudo ./conductor.sh exec c2 -- ip route get 1 | grep -oP 'src \K\S+')

# Step 6: the services
sudo ./conductor.sh exec c2 -- bash /counter-service/run.sh &
sleep 8
sudo ./conductor.sh exec c1 -- bash /external-service/run.sh "http://$C2_IP:8080/"
