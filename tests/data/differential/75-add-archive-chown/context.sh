mkdir d; echo in >d/in; chown -R 12:13 d; tar --numeric-owner -cf a.tar d; rm -r d
