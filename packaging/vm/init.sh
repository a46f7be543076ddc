#!/busybox sh
# The initial file system: the modules that the stock kernel needs to find its disk, the network, then Debian's systemd.
/busybox mount -t devtmpfs dev /dev
/busybox mount -t proc proc /proc
for module in $(/busybox cat /modules/order); do
    /busybox insmod "/modules/$module" || /busybox echo "no $module" >/dev/console
done
# On the wire that QEMU makes; nothing behind it but what it was told to forward.
/busybox ip link set lo up
/busybox ip link set eth0 up
/busybox ip address add 10.0.2.15/24 dev eth0
tries=0
until /busybox mount -t ext4 /dev/vda /disk; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || /busybox poweroff -f
    /busybox sleep 0.1
done
/busybox umount /proc
/busybox mount --move /dev /disk/dev
exec /busybox switch_root /disk /sbin/init
