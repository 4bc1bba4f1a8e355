//! Taking over the state of an earlier transport's session, and giving it away.

use std::any::Any;
use std::collections::VecDeque;

use fanfare_engine::{ClaimId, Command, Outputs};
use fanfare_model::error;

use super::acks::{Acks, Settled};
use super::connect::ConnectionKey;
use super::token_rate::Rates;
use super::{AblySession, Phase, close};
use crate::auth::{Identity, Method};

/// What a successor shows for the state that it wants.
struct Claim {
    secret: Box<str>,
    identity: Identity,
}

/// What outlives a transport. Members are carried by the engine; channels the client attaches anew.
struct Carried {
    last_seen: i64,
    results: VecDeque<Settled>,
    rates: Option<Box<Rates>>,
}

impl AblySession {
    pub(super) fn claim(&mut self, key: ConnectionKey, out: &mut Outputs) {
        let claim = Claim { secret: key.secret.clone(), identity: self.identity.clone() };
        let (worker, connection) = (key.worker, key.connection.clone());
        self.phase = Phase::Claiming(Box::new(key));
        out.push(Command::Claim { worker, connection, claim: Box::new(claim) });
    }

    pub(super) fn claimed(&mut self, state: Option<Box<dyn Any + Send>>, out: &mut Outputs) {
        let carried = state.and_then(|state| state.downcast::<Carried>().ok());
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Claiming(key) => match carried {
                Some(carried) => {
                    self.acks = Acks::carried(carried.last_seen, carried.results);
                    self.rates = carried.rates;
                    self.identify(key.connection, None, out);
                    self.timers.keep_results(&self.acks, out.now.mono);
                }
                None => self.begin(Some(&error::unable_to_recover("its state is not here any more")), out),
            },
            // The transport was lost on the way. The members are this session's to let go.
            Phase::Orphaned(key) if carried.is_some() => {
                self.connection = Some(key.connection.clone());
                out.push(Command::Identify(key.connection));
                self.phase = Phase::Lost;
                self.lose(out);
            }
            Phase::Orphaned(_) => out.push(Command::End),
            other => self.phase = other,
        }
    }

    pub(super) fn claim_requested(
        &mut self,
        claim: ClaimId,
        request: Box<dyn Any + Send>,
        out: &mut Outputs,
    ) {
        let may = request.downcast::<Claim>().is_ok_and(|request| self.may_be_claimed(&request));
        if !may {
            return out.push(Command::Answer { claim, state: None });
        }
        if self.is_open() {
            self.disconnect(&error::superseded(""), close::NORMAL, out);
        }
        self.claims.push(claim);
        self.answer_claims(out);
    }

    fn may_be_claimed(&self, claim: &Claim) -> bool {
        matches!(self.phase, Phase::Open | Phase::Lost)
            && self.secret.is(&claim.secret)
            && compatible(&self.identity, &claim.identity)
    }

    /// Once nothing is in flight. The last to ask is the one that lives; the engine refuses the others.
    pub(super) fn answer_claims(&mut self, out: &mut Outputs) {
        if !self.acks.is_idle() {
            return;
        }
        let Some(claim) = self.claims.pop() else { return };
        let (last_seen, results) = self.acks.carry();
        self.phase = Phase::Over;
        self.timers = Default::default();
        let carried = Carried { last_seen, results, rates: self.rates.take() };
        out.push(Command::Answer { claim, state: Some(Box::new(carried)) });
    }
}

/// Whether one client may have made both connections.
fn compatible(earlier: &Identity, later: &Identity) -> bool {
    let same_client = match (&earlier.method, &later.method) {
        (Method::Basic, Method::Basic) => earlier.key == later.key,
        _ => earlier.client == later.client,
    };
    earlier.app.id == later.app.id && same_client
}
