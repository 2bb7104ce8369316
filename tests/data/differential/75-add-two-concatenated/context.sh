mkdir d; echo 1 >d/1; echo 2 >d/2; tar -cf a.tar d/1; head -c 1024 a.tar | gzip -n >two.tar.gz; tail -c +1025 a.tar | gzip -n >>two.tar.gz; rm -r a.tar d
