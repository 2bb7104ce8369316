mkdir -p old; : >old/.wh.a; echo n >old/new; tar -cf a.tar old; rm -r old
