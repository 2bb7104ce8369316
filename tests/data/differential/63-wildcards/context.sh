for n in a b c d 1; do echo $n >f$n.c; done
echo bracket >'f[1].c'
echo t >one.txt; echo u >two.txt; echo h >.hidden.txt
mkdir d1 d2; echo 1 >d1/x; echo 2 >d2/xy
