mkdir d; echo in >d/in; tar -cf renamed.txt d; rm -r d
echo no archive >fake.tar; echo neither >fake.tar.gz; echo text | gzip -n >text.gz; tar -cf empty.tar -T /dev/null; : >zero
head -c 100 renamed.txt >short.tar
