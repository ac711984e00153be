//! `audit`: who commanded an agent, and whether the log of that is as it was written.

use super::Session;
use crate::{
    audit::{Broken, Verified, files, verify},
    cli::Audit,
    error::{Exit, Failure},
    json::AuditOut,
};

/// `verify` ends with 6 where a line is not as it was written: what is there is not what was put there.
pub(super) fn audit(command: Audit, session: &mut Session) -> Result<Exit, Failure> {
    match command {
        Audit::Verify { place, head } => {
            let found = verify(&files(&place.dir)?, head.as_deref())?;
            let sound = found.as_ref().is_ok_and(|verified| head.is_none() || verified.holds);
            if session.wants_json() {
                session.output.json(&out(&found, sound))?;
            } else {
                session.output.result(&words(&found, head.as_deref()))?;
            }
            Ok(if sound { Exit::Pass } else { Exit::WrongData })
        }
        Audit::Export { place } => {
            for file in files(&place.dir)? {
                session.output.bytes(&file.bytes()?)?;
            }
            Ok(Exit::Pass)
        }
    }
}

fn words(found: &Result<Verified, Broken>, wanted: Option<&str>) -> String {
    let verified = match found {
        Err(Broken { place, why }) => return format!("broken at {place}: {why}\n"),
        Ok(verified) => verified,
    };
    let Verified { lines, first, head, torn, torn_end, holds } = verified;
    let mut words = format!(
        "{lines} lines are as they were written, numbers {first} to {}\nhead {}\n",
        head.seq, head.hash
    );
    if *first > 1 {
        words += &format!("lines 1 to {} are not here\n", first - 1);
    }
    for place in torn {
        words += &format!("torn at {place}: it was being written when the agent or the host died\n");
    }
    if *torn_end {
        words += "the last line of all is torn, or is being written just now\n";
    }
    if let Some(wanted) = wanted.filter(|_| !holds) {
        words += &format!("no line has the hash {wanted}: this is another log, or its end was cut off\n");
    }
    words
}

fn out(found: &Result<Verified, Broken>, sound: bool) -> AuditOut {
    match found {
        Ok(verified) => AuditOut {
            sound,
            lines: Some(verified.lines),
            first: (verified.lines > 0).then_some(verified.first),
            last: (verified.lines > 0).then_some(verified.head.seq),
            head: (verified.lines > 0).then(|| verified.head.hash.clone()),
            torn: verified.torn.clone(),
            broken_at: None,
            reason: (!sound).then(|| "no line has the hash that --head names".to_owned()),
        },
        Err(Broken { place, why }) => AuditOut {
            sound,
            lines: None,
            first: None,
            last: None,
            head: None,
            torn: Vec::new(),
            broken_at: Some(place.clone()),
            reason: Some(why.clone()),
        },
    }
}
