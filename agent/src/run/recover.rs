//! Looks after the runs of a daemon that is gone, without a daemon: for a service manager, after the service has ended.

use std::{path::Path, sync::Arc};

use ssts_proto::v1::RunReceipt;

use super::{
    remains::Remains,
    store::{Store, StoreError},
    undo::UndoJournal,
};
use crate::host::{self, HostRoots};

/// Ends, undoes and looks at what the last daemon of `state_dir` has left; what is not seen to be clean stands in the records
/// and keeps the next daemon from starting runs. Gives what is not clean.
///
/// # Errors
/// [`StoreError::Taken`] while a daemon has that folder; [`StoreError::Folder`].
pub fn recover_after(state_dir: &Path, roots: &HostRoots) -> Result<Vec<RunReceipt>, StoreError> {
    let store = Arc::new(Store::open(state_dir)?);
    let undo = Arc::new(UndoJournal::open(state_dir, roots)?);
    let remains = Remains::open(state_dir, roots, store, undo)?;
    host::sweep(roots);
    remains.take_over();
    Ok(remains.unclean())
}
