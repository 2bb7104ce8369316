mkdir -p opt/old opt/keep etc; echo new >opt/old/a; echo f >opt/keep/new; chmod 700 opt/keep; echo motd >etc/motd; chmod 600 etc/motd; tar -cf a.tar opt etc; rm -r opt etc
