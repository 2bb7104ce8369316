mkdir -p a/b/c docs/x
for f in top.txt top.md a/one.txt a/two.md a/b/three.txt a/b/c/four.md docs/x/y docs/keep docs/drop .hidden; do echo $f >$f; done
echo 1 >'!bang'; echo 2 >'#hash'; echo 3 >'st*r'; echo 4 >star
