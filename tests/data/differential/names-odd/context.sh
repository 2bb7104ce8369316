mkdir tree; for n in 'with space' 'quote"d' "it's" 'back\slash' 'dollar$x' '*' '[a]' '-dash' '#hash' '.dot' '...' 'new
line' 'tab	x' '~' '%41' ' lead' 'trail '; do echo "$n" >"tree/$n"; done
