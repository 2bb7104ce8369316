mkdir tree; printf x >"$(printf 'tree/\377\376')"; ln -s "$(printf '\351')" tree/link; echo e >"tree/Ã©"
