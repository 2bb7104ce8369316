//! One file brought into the store: asked for, gone on with, asked for anew, until it is whole or there is no point
//! (spec/fetch.md, "Going on").

use ureq::Body;
use ureq::http::header::HeaderName;
use ureq::http::{Response, StatusCode};

use super::client::Tries;
use super::transfer::{Broken, Brought, Transfer, Wanted};
use super::watch::Task;
use crate::digest::BlobDigest;
use crate::store::{Store, StoreError};

/// Headers of a request for the rest of a file; none for all of it.
pub type Conditions = Vec<(HeaderName, String)>;

/// What came of one request.
pub enum Answer {
    /// What the store has is still right.
    Same,
    New(Box<Response<Body>>),
    /// There is no rest of what is here: it is no part of what the server has.
    NoRest,
}

/// Why there is no file.
#[derive(Debug)]
pub enum Lost<E> {
    /// There was no answer with a body.
    Asking(E),
    Failed(String),
    /// A part came of what was asked for as a whole.
    Part,
    TooLarge,
    Other {
        expected: BlobDigest,
        actual: BlobDigest,
    },
    Store(StoreError),
}

impl<E> From<StoreError> for Lost<E> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Brings a file, what broke off from where it was; `None` if what is known is still right. Whoever calls holds the
/// work lock of the file. `ask` gets the headers of each request.
pub fn bring<E>(
    store: &Store,
    wanted: &Wanted,
    tries: &mut Tries,
    task: &Task,
    mut ask: impl FnMut(&Conditions, &mut Tries) -> Result<Answer, E>,
) -> Result<Option<Brought>, Lost<E>> {
    let mut begun = Transfer::resume(store, wanted)?;
    // Killed between the last byte and the name.
    if let Some(whole) = begun.take_if(|begun| begun.is_whole() && wanted.checksum.is_some())
        && let Some(brought) = finish(store, whole, wanted)?
    {
        return Ok(Some(brought));
    }
    loop {
        begun = begun.filter(|begun| begun.can_go_on(wanted));
        let conditions = begun.iter().flat_map(|begun| begun.conditions(wanted)).collect();
        let response = match ask(&conditions, tries).map_err(Lost::Asking)? {
            Answer::New(response) => *response,
            Answer::NoRest => {
                begun = None;
                continue;
            }
            Answer::Same => {
                store.drop_partial(&wanted.key);
                return Ok(None);
            }
        };
        let Some(mut transfer) = take_up(store, begun.take(), wanted, &response)? else { continue };
        match transfer.fill(wanted, response, task) {
            Ok(()) => match finish(store, transfer, wanted)? {
                Some(brought) => return Ok(Some(brought)),
                None => continue,
            },
            Err(Broken::Off(_)) if tries.again(None) => begun = Some(transfer),
            Err(Broken::Off(reason) | Broken::Failed(reason)) => return Err(Lost::Failed(reason)),
            Err(Broken::TooLarge) => {
                store.drop_partial(&wanted.key);
                return Err(Lost::TooLarge);
            }
            Err(Broken::Store(error)) => return Err(error.into()),
        }
    }
}

/// What the body of an answer is added to; `None` if it is a part of something else than what is here.
fn take_up<E>(
    store: &Store,
    begun: Option<Transfer>,
    wanted: &Wanted,
    response: &Response<Body>,
) -> Result<Option<Transfer>, Lost<E>> {
    let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
    match begun {
        Some(begun) if is_part => Ok(begun.going_on_with(wanted, response)),
        None if is_part => Err(Lost::Part),
        Some(_) | None => Ok(Some(Transfer::start(store, wanted, response)?)),
    }
}

/// Names what came; `None` if it is not what it should be, and the fault may lie with what was here before.
fn finish<E>(store: &Store, transfer: Transfer, wanted: &Wanted) -> Result<Option<Brought>, Lost<E>> {
    let is_joined = transfer.is_joined();
    match transfer.finish(wanted) {
        Ok(brought) => Ok(Some(brought)),
        Err(StoreError::CorruptBlob { expected, actual }) => {
            store.drop_partial(&wanted.key);
            if is_joined { Ok(None) } else { Err(Lost::Other { expected, actual }) }
        }
        Err(other) => Err(other.into()),
    }
}
