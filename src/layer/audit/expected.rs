//! What should be there: the items that unpacking makes, by the directory that holds them.

use std::collections::BTreeMap;

use crate::layer::entry::Toc;
use crate::layer::unpack::make::{Item, What};
use crate::layer::unpack::{Devices, UnpackOptions, layer_items};
use crate::path::ImagePath;

/// The items of a layer. The first is the root.
pub(super) struct Expected<'a> {
    pub items: Vec<Item<'a>>,
    /// Whether the layer says what its root is like.
    pub lists_root: bool,
    /// For each item that is a directory, what it holds, by name.
    children: Vec<Vec<usize>>,
    /// How many names a file has, if several, by the item that is its first.
    names: BTreeMap<usize, u64>,
}

impl<'a> Expected<'a> {
    pub fn new(toc: &'a Toc, options: &UnpackOptions<'a>) -> Self {
        let mut items = layer_items(toc, options);
        let is_device = |what: &What<'_>| matches!(what, What::Char { .. } | What::Block { .. });
        items.retain(|item| options.devices == Devices::Make || !is_device(&item.what));
        let lists_root = toc.get(&ImagePath::root()).is_some();
        let mut expected = Self { children: children(&items), items, lists_root, names: BTreeMap::new() };
        for at in 0..expected.items.len() {
            if let Some(first) = expected.first_name(at) {
                *expected.names.entry(first).or_insert(1) += 1;
            }
        }
        expected
    }

    /// What a directory holds, by name.
    pub fn children(&self, dir: usize) -> &[usize] {
        &self.children[dir]
    }

    /// An item and everything below it.
    pub fn with_below(&self, top: usize) -> impl Iterator<Item = &Item<'a>> {
        let path = &self.items[top].path;
        self.items[top..].iter().take_while(move |item| item.path.strip_prefix(path).is_some())
    }

    /// The item that another name of a file is a name of.
    pub fn first_name(&self, link: usize) -> Option<usize> {
        match &self.items[link].what {
            What::Link(target) => self.items.binary_search_by(|item| item.path.cmp(target)).ok(),
            What::Dir { .. }
            | What::File { .. }
            | What::Symlink(_)
            | What::Char { .. }
            | What::Block { .. }
            | What::Fifo
            | What::Whiteout => None,
        }
    }

    /// How many names a file has, by the item that is its first.
    pub fn names(&self, first: usize) -> u64 {
        self.names.get(&first).copied().unwrap_or(1)
    }
}

/// Items are in layer order, so what a directory holds follows it.
fn children(items: &[Item<'_>]) -> Vec<Vec<usize>> {
    let mut children = vec![Vec::new(); items.len()];
    let mut way: Vec<usize> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let path = &item.path;
        while way.pop_if(|dir| path.strip_prefix(&items[*dir].path).is_none()).is_some() {}
        if let Some(holder) = way.last() {
            children[*holder].push(at);
        }
        if matches!(item.what, What::Dir { .. }) {
            way.push(at);
        }
    }
    children
}
