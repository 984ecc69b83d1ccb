//! Which commands were carried out: each once, however often the database server repeats it.

use std::collections::VecDeque;

use protocols::p1_registration::{CommandResult, MAX_PENDING_COMMANDS};

/// Commands whose outcome is remembered; more than the database server keeps waiting, so that a repeated one is
/// always known. When full the oldest is forgotten.
pub(crate) const MAX_REMEMBERED: usize = 4 * MAX_PENDING_COMMANDS;

/// Outcomes of commands, and those not yet reported.
#[derive(Debug, Default)]
pub(crate) struct CommandLedger {
    remembered: VecDeque<CommandResult>,
    unreported: Vec<CommandResult>,
}

impl CommandLedger {
    /// Carries out the command `id` unless it was before; either way its outcome is reported next.
    pub(crate) fn carry_out(&mut self, id: u64, order: impl FnOnce() -> Result<(), String>) {
        let known = self.remembered.iter().find(|result| result.id == id).cloned();
        let result = known.unwrap_or_else(|| {
            let result = CommandResult { id, outcome: order() };
            if self.remembered.len() == MAX_REMEMBERED {
                self.remembered.pop_front();
            }
            self.remembered.push_back(result.clone());
            result
        });
        if !self.unreported.iter().any(|waiting| waiting.id == id) {
            self.unreported.push(result);
        }
    }

    /// What the next poll reports. A report lost with its connection is made again when the command is repeated.
    pub(crate) fn take_unreported(&mut self) -> Vec<CommandResult> {
        std::mem::take(&mut self.unreported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_command_is_reported_again_and_not_carried_out_again() {
        let mut ledger = CommandLedger::default();
        ledger.carry_out(7, || Err("no".into()));
        let first = ledger.take_unreported();
        ledger.carry_out(7, || unreachable!("carried out twice"));
        assert_eq!(ledger.take_unreported(), first);
        assert!(ledger.take_unreported().is_empty());
    }

    #[test]
    fn memory_is_bounded_by_forgetting_the_oldest() {
        let mut ledger = CommandLedger::default();
        for id in 0..1000 {
            ledger.carry_out(id, || Ok(()));
        }
        assert_eq!(ledger.remembered.len(), MAX_REMEMBERED);
        assert_eq!(ledger.remembered.front().unwrap().id, 1000 - MAX_REMEMBERED as u64);
    }
}
