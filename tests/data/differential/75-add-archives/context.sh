mkdir -p d/e; echo in >d/in; echo x >d/e/x; ln d/in d/hard; ln -s in d/soft; chmod 640 d/in; chmod 711 d/e; chown -R 12:13 d; echo one >one.txt
for s in tar tar.gz tar.bz2 tar.xz; do tar --sort=name --numeric-owner --mtime=@1100000000 -caf a.$s d; done
rm -r d
