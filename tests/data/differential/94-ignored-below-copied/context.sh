mkdir dir; for n in a.txt b.txt dir/in1 dir/in2 dir/x; do echo $n >$n; done
