mkdir -p tree/sticky tree/closed; for m in 000 600 755 4755 2755 1644 7777; do echo $m >tree/m$m; chmod $m tree/m$m; done
chmod 1777 tree/sticky; chmod 700 tree/closed; echo s >tree/suid; chmod 6711 tree/suid; echo n >tree/none; chmod 0 tree/none; chmod 2775 tree
