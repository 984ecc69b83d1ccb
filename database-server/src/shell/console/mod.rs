//! The console: HTTP for people, their browsers and their programs.
//!
//! ```text
//! connection ─► headers ─► route ─► Visitor (who asks, and what they may) ─► Desk ─► driver ─► machine's views
//!                                                                       └─► Journal ─► store thread
//! ```
//!
//! `docs/api.md` is the reference. Each file here owns one subject: its handlers, its views' route documentation, and
//! `routes()` which [`app`] merges. A handler names who may call it by [`Visitor::require`] first of all.

#![expect(clippy::disallowed_methods, reason = "it is a part of the shell: tasks and clocks live here")]

mod accounts;
mod answer;
mod body;
mod commands;
mod desk;
mod gallery;
mod guide;
mod headers;
mod health;
mod journal;
mod live;
mod media;
mod metrics;
mod openapi;
mod page;
mod query;
mod session;
mod site;
#[cfg(test)]
mod tests;
mod topology;
mod visitor;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::{Router, middleware};
use protocols::topology::Topology;
use tokio::sync::{Semaphore, watch};

use self::answer::ApiError;
pub(super) use self::desk::{Ask, Desk, Look, QUEUED_ASKS};
use self::gallery::Gallery;
use self::live::Listeners;
pub(super) use self::metrics::Measures;
use super::administration::Office;
use super::tally::Tally;
use crate::store;

/// Whoever reads nothing of an answer for this long is disconnected; a player that pauses for longer asks anew.
pub(super) const UNREAD_LIMIT: Duration = Duration::from_mins(1);

/// What all handlers share.
#[derive(Debug, Clone)]
pub(super) struct App(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    desk: Desk,
    gallery: Gallery,
    journal: store::Reader,
    listeners: Listeners,
    tally: Arc<Tally>,
    topology: watch::Receiver<Arc<Topology>>,
    /// Places of those who have metrics written.
    scrapes: Semaphore,
    /// Places of requests passed on to the gateway.
    passed: Arc<Semaphore>,
    started: Instant,
    office: Arc<Office>,
    secure_address: String,
}

/// What a console works with.
#[derive(Debug)]
pub(super) struct Means {
    /// The way to the driver.
    pub(super) desk: Desk,
    /// The way to the journal.
    pub(super) journal: store::Reader,
    /// Where it counts.
    pub(super) tally: Arc<Tally>,
    /// Who may do what, and does it.
    pub(super) office: Arc<Office>,
    /// The topology in force.
    pub(super) topology: watch::Receiver<Arc<Topology>>,
    /// Where passwords are taken: `https://…`.
    pub(super) secure_address: String,
}

impl App {
    /// A console with these means.
    pub(super) fn new(means: Means) -> Self {
        let Means { desk, journal, tally, office, topology, secure_address } = means;
        let gallery = Gallery::new(desk.clone(), journal.clone());
        Self(Arc::new(Shared {
            desk,
            gallery,
            journal,
            listeners: Listeners::default(),
            tally,
            topology,
            scrapes: Semaphore::new(metrics::MAX_SCRAPES),
            passed: Arc::new(Semaphore::new(media::MAX_PASSED)),
            started: Instant::now(),
            office,
            secure_address,
        }))
    }

    /// The way to the driver.
    fn desk(&self) -> &Desk {
        &self.0.desk
    }

    /// Where everything goes that takes an account.
    fn office(&self) -> &Office {
        &self.0.office
    }

    /// Where passwords are taken.
    fn secure_address(&self) -> String {
        self.0.secure_address.clone()
    }

    /// The newest picture of the site.
    fn gallery(&self) -> &Gallery {
        &self.0.gallery
    }
}

/// All that the port serves.
pub(super) fn app(state: App) -> Router {
    let api = Router::new()
        .merge(health::routes())
        .merge(site::routes())
        .merge(guide::routes())
        .merge(journal::routes())
        .merge(live::routes())
        .merge(session::routes())
        .merge(topology::routes())
        .merge(accounts::routes())
        .merge(commands::routes())
        .merge(openapi::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::map_response(headers::not_kept));
    Router::new()
        .nest("/api/v1", api)
        .merge(metrics::routes())
        .merge(media::routes())
        .merge(page::routes())
        .layer(middleware::map_response(headers::strict))
        .with_state(state)
}

async fn no_such_path() -> ApiError {
    ApiError::not_found("there is nothing at this path: /api/v1/openapi.json describes what there is")
}

async fn no_such_method() -> ApiError {
    ApiError::wrong_method()
}
