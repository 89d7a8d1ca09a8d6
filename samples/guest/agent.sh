#!/bin/sh
# Runs in the guest what the tests outside ask for: a line "TOKEN SCRIPT" comes, SCRIPT in base64; the script's output goes
# back, and after it a line "@@TOKEN STATUS".
port=$(echo /dev/vport*p1) # the number before p counts all virtio devices
exec 3<>"$port"
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
printf '\n@@ready 0\n' >&3
while IFS=' ' read -r token script <&3; do
  printf %s "$script" | base64 -d >/run/agent-script
  # In a shell of its own, so that nothing of it is left; what it starts must not hold the port.
  (exec 3>&-; cd /root && exec sh -e /run/agent-script) </dev/null >&3 2>&1
  printf '\n@@%s %d\n' "$token" "$?" >&3
done
