//! Requests that ask the same at the same time: one of them is sent, and all have its answer.
//!
//! Only whole answers, and only where nobody expects two answers to differ: at temperature 0, or where the client says so. The
//! others wait for the first. If its client leaves, the request goes on as long as somebody waits for it. If it fails, its
//! failure is theirs only if the provider found fault with the request itself; else each asks on its own.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use gateway_cache::Hash;
use gateway_core::error::FailureClass;
use gateway_core::limits::COALESCED_REQUESTS;
use tokio::sync::watch;

use super::kept::Kept;
use crate::api::body::Opening;
use crate::attempt::{Failure, Good};
use crate::call::SharedCall;
use crate::gateway::Gateway;
use crate::pipeline;
use crate::settle::{Outcome, Settle};

/// The requests under way that others may wait for, by what they ask.
#[derive(Debug, Clone, Default)]
pub struct Flights(Arc<Mutex<HashMap<Hash, Flight>>>);

/// One request that others may wait for.
#[derive(Debug, Clone)]
pub struct Flight(Arc<watch::Sender<Option<Landed>>>);

/// How the first request ended.
#[derive(Debug, Clone)]
pub enum Landed {
    Answer(Arc<Kept>),
    /// The request is at fault, whoever sends it.
    Failed(Arc<Failure>),
    /// That says nothing to the others.
    Lost,
}

/// What a request is to those that ask the same.
#[derive(Debug)]
pub enum Part {
    /// The one that is sent.
    Lead(Lead),
    Follow(Follow),
    /// So many wait already that it is better to ask twice.
    Alone,
}

/// The duty to tell those who wait. Dropped, it tells them to ask on their own.
#[derive(Debug)]
pub struct Lead {
    flights: Flights,
    key: Hash,
    pub flight: Flight,
}

#[derive(Debug)]
pub struct Follow(watch::Receiver<Option<Landed>>);

impl Flights {
    /// `key`: what is asked.
    pub fn join(&self, key: Hash) -> Part {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match flights.get(&key) {
            Some(flight) if flight.followers() < COALESCED_REQUESTS => Part::Follow(Follow(flight.0.subscribe())),
            Some(_) => Part::Alone,
            None => {
                let flight = Flight(Arc::new(watch::Sender::new(None)));
                flights.insert(key, flight.clone());
                Part::Lead(Lead { flights: self.clone(), key, flight })
            }
        }
    }
}

impl Follow {
    pub async fn landed(mut self) -> Landed {
        let landed = self.0.wait_for(Option::is_some).await;
        landed.ok().and_then(|landed| landed.clone()).unwrap_or(Landed::Lost)
    }
}

impl Lead {
    pub fn is_followed(&self) -> bool {
        self.flight.followers() > 0
    }

    pub fn answered(self, kept: Arc<Kept>) {
        self.land(Landed::Answer(kept));
    }

    pub fn failed(self, failure: &Failure) {
        let at_fault = failure.told().is_some() && failure.class() == FailureClass::ClientFault;
        if at_fault && self.is_followed() {
            self.land(Landed::Failed(Arc::new(failure.clone())));
        }
    }

    /// Whoever comes from now on finds the answer in the cache, or asks anew.
    fn land(&self, landed: Landed) {
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.flight.0.send_if_modified(|state| {
            let first = state.is_none();
            if first {
                *state = Some(landed);
            }
            first
        });
    }
}

impl Flight {
    fn followers(&self) -> usize {
        self.0.receiver_count()
    }

    /// The attempts that are made for the request go on without its client while others wait.
    pub fn carry(self, gateway: Arc<Gateway>, call: SharedCall, attempts: Opening) -> Opening {
        Box::pin(Flying { attempts: Some(attempts), flight: self, gateway, call })
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.land(Landed::Lost);
    }
}

struct Flying {
    /// `None` once they have ended.
    attempts: Option<Opening>,
    flight: Flight,
    gateway: Arc<Gateway>,
    call: SharedCall,
}

impl Future for Flying {
    type Output = (Result<Good, Failure>, Box<Settle>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(attempts) = &mut self.attempts else { return Poll::Pending };
        let polled = attempts.as_mut().poll(cx);
        if polled.is_ready() {
            self.attempts = None;
        }
        polled
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        if let Some(attempts) = self.attempts.take()
            && self.flight.followers() > 0
            && !self.gateway.is_closing()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(go_on(self.gateway.clone(), self.call.clone(), self.flight.clone(), attempts));
        }
    }
}

/// The client has gone. What the answer takes is on its account all the same: it has asked for it.
async fn go_on(gateway: Arc<Gateway>, call: SharedCall, flight: Flight, attempts: Opening) {
    let (result, mut settle) = tokio::select! {
        ended = attempts => ended,
        () = flight.0.closed() => return,
    };
    match result {
        Ok(Good::Whole(whole)) => {
            pipeline::said(&gateway, &call, &whole.target, whole.body, &mut settle);
        }
        Ok(Good::Stream(_)) => {}
        Err(failure) => settle.failed_for_all(&failure),
    }
    settle.end(499, Outcome::ClientGone, None);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Hash {
        Hash::of("test", b"")
    }

    #[tokio::test]
    async fn the_first_leads_the_others_follow_and_nobody_waits_for_one_that_was_given_up() {
        let flights = Flights::default();
        let Part::Lead(lead) = flights.join(key()) else { panic!("nobody was there") };
        assert!(!lead.is_followed());
        let Part::Follow(follow) = flights.join(key()) else { panic!("somebody is there") };
        assert!(lead.is_followed());
        drop(lead);
        assert!(matches!(follow.landed().await, Landed::Lost));
        let Part::Lead(lead) = flights.join(key()) else { panic!("nobody is there any more") };
        let Part::Follow(left) = flights.join(key()) else { panic!("somebody is there") };
        drop(left);
        assert!(!lead.is_followed());
        drop(lead);
        assert!(flights.0.lock().unwrap().is_empty());
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let flights = Flights::default();
        let _lead = flights.join(key());
        let waiting: Vec<Part> = (0..COALESCED_REQUESTS).map(|_| flights.join(key())).collect();
        assert!(waiting.iter().all(|part| matches!(part, Part::Follow(_))));
        assert!(matches!(flights.join(key()), Part::Alone));
    }
}
