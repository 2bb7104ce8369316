//! Source paths and patterns of `COPY --from`, resolved in another image's file system.

use super::ExecError;
use crate::context::pattern::{Pattern, is_wild, may_match_none};
use crate::layer::tree::{FollowLast, Tree};
use crate::path::ImagePath;

/// What a path or pattern selects: the name as written or matched, and where it really is. Symlinks are followed inside
/// the root where they are named, and at the end; a wildcard does not look through them. A pattern may select nothing;
/// a plain path may not.
pub fn select(tree: &Tree, pattern: &ImagePath) -> Result<Vec<(Vec<u8>, ImagePath)>, ExecError> {
    let mut places = vec![(Vec::new(), ImagePath::root())];
    let mut wild = false;
    let mut names = pattern.names().peekable();
    while let Some(name) = names.next() {
        wild |= may_match_none(name);
        let look_through = !wild || names.peek().is_none();
        let mut next = Vec::new();
        for (_, place) in &places {
            for name in children(tree, place, pattern, name)? {
                let child = place.child(&name);
                let real = tree.resolve(&child, FollowLast::Follow)?.path;
                if tree.get(&real).is_some() && (look_through || real == child) {
                    next.push((name, real));
                }
            }
        }
        places = next;
    }
    if places.is_empty() && !wild {
        return Err(ExecError::NotFound { path: pattern.clone() });
    }
    Ok(places)
}

fn children(
    tree: &Tree,
    place: &ImagePath,
    whole: &ImagePath,
    name: &[u8],
) -> Result<Vec<Vec<u8>>, ExecError> {
    if !is_wild(name) {
        return Ok(vec![name.to_vec()]);
    }
    let pattern =
        Pattern::parse(name).map_err(|source| ExecError::Pattern { pattern: whole.clone(), source })?;
    let names = tree.list(place).into_iter().map(|found| found.entry.path.name().to_vec());
    Ok(names.filter(|name| pattern.matches(name)).collect())
}
