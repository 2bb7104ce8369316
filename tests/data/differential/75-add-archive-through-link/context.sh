mkdir d; echo in >d/in; tar -cf a.tar d; gzip -nc a.tar >b.tgz; rm -r d; ln -s a.tar link.tar
