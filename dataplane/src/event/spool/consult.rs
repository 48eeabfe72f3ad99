//! Whether an event that came from the broker may be attempted, as far as this shard knows.
//!
//! It is asked of the writer, so that the answer is behind everything that was told before: what another
//! process was told to be durable is seen.

use rusqlite::{OptionalExtension, params};

use super::command::{Ask, Place, Verdict};
use super::row::{DEAD, DRAINED, SPOOLED};
use super::writer::Writer;
use crate::event::Envelope;
use crate::event::claim::{Key, conversation_key};

impl Writer {
    pub(super) fn consult(&self, ask: &Ask) -> rusqlite::Result<Verdict> {
        let Ask { envelope, row } = ask;
        let event = &envelope.event;
        let conversation = conversation_key(&event.tenant, &event.source, &event.conversation);
        match self.own(*row) {
            Some(row) => match self.state_of(row, envelope.sequence, &conversation)? {
                Some(SPOOLED | DRAINED) => {}
                // Its turn comes from here now.
                Some(state) if state < DEAD => return self.kept(&conversation, envelope),
                Some(_) | None => return Ok(Verdict::Gone),
            },
            // The shard has the event itself: its turn comes from here, or with its drained copy.
            None if self.owed_row(&conversation, envelope.sequence, &event.id)?.is_some() => {
                return self.kept(&conversation, envelope);
            }
            None => {}
        }
        if self.owes(&conversation, envelope)? {
            return Ok(Verdict::Owed);
        }
        let (done, idle) = (self.done_up_to(&conversation)?, !self.owes_anything(&conversation)?);
        Ok(Verdict::Clear { done, idle })
    }

    /// The row, if it is of this store: of the store that was here before, nothing is known.
    pub(super) fn own(&self, place: Option<Place>) -> Option<i64> {
        place.filter(|place| place.store.is_none_or(|store| store == self.spool.id)).map(|place| place.row)
    }

    fn kept(&self, conversation: &Key, envelope: &Envelope) -> rusqlite::Result<Verdict> {
        Ok(Verdict::Kept { behind: self.owes(conversation, envelope)? })
    }

    fn owes_anything(&self, conversation: &Key) -> rusqlite::Result<bool> {
        self.spool
            .conn
            .prepare_cached(&format!("SELECT EXISTS(SELECT 1 FROM events WHERE conversation=? AND state<{DEAD})"))?
            .query_row([conversation], |row| row.get(0))
    }

    pub(super) fn state_of(&self, row: i64, sequence: i64, conversation: &Key) -> rusqlite::Result<Option<i64>> {
        self.spool
            .conn
            .prepare_cached("SELECT state FROM events WHERE row=? AND conversation=? AND sequence=?")?
            .query_row(params![row, conversation, sequence], |row| row.get(0))
            .optional()
    }

    /// Whether something older of the conversation is owed. What has no claimed number is behind all that is there.
    fn owes(&self, conversation: &Key, envelope: &Envelope) -> rusqlite::Result<bool> {
        let before = if envelope.degraded { i64::MAX } else { envelope.sequence };
        let id = &*envelope.event.id;
        self.spool
            .conn
            .prepare_cached(&format!(
                "SELECT EXISTS(SELECT 1 FROM events WHERE conversation=?1 AND state<{DEAD}
                   AND (sequence, id) < (?2, ?4) AND NOT (sequence=?3 AND id=?4))"
            ))?
            .query_row(params![conversation, before, envelope.sequence, id], |row| row.get(0))
    }

    fn done_up_to(&self, conversation: &Key) -> rusqlite::Result<Option<i64>> {
        let done = self
            .spool
            .conn
            .prepare_cached("SELECT done FROM conversations WHERE key=?")?
            .query_row([conversation], |row| row.get(0))
            .optional()?;
        Ok(done.flatten())
    }
}
