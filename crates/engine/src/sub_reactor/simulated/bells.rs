//! Descriptors that the handler has watched. Who rings is the world: events of them come in no order, and late ones too.

use mio::Token;

use super::{actor::Actor, deed::Deed, estate::carrier, model::Running, world::World};
use crate::{Reactor, Tag};

/// What was watched so far, in this order: their tags, as long as they are watched.
#[derive(Default)]
pub(super) struct Bells {
    tags: Vec<Option<Tag>>,
    /// The one that rings now, if it is still watched.
    rings: Option<Tag>,
}

/// Descriptors of a world at most.
const MOST: usize = 8;
/// The first one's token: those below are the waker's and the listeners'.
const FIRST: usize = 1 << 16;

impl Actor {
    /// Watches one more, or closes all with a tag.
    pub(super) fn watch(&mut self, reactor: &mut Reactor<'_>, deed: Deed) {
        let tag = Tag(self.random.below(3) as u64);
        let mut model = self.model.borrow_mut();
        if deed == Deed::Unwatch {
            let found = model.bells.tags.iter_mut().filter(|known| **known == Some(tag));
            let there = found.map(|known| *known = None).count();
            let closed = reactor.unwatch(tag);
            if closed != there {
                model.fail_at_large(format!("{closed} descriptors were closed, of {there} with {tag:?}"));
            }
        } else if model.bells.tags.len() < MOST {
            match reactor.watch(carrier(true), tag) {
                Ok(()) => model.bells.tags.push(Some(tag)),
                Err(refused) => model.fail_at_large(format!("not watched: {}", refused.error)),
            }
        }
    }

    /// `on_ready`.
    pub(super) fn meet_bell(&mut self, reactor: &mut Reactor<'_>, tag: Tag) {
        let _running = Running::enter(&self.model, "on_ready".to_owned());
        let rings = self.model.borrow_mut().bells.rings.take();
        if rings != Some(tag) {
            self.model.borrow_mut().fail_at_large(format!("{tag:?} is ready, when {rings:?} is"));
        }
        self.act_at_large(reactor);
    }
}

impl World {
    /// An event of one that is watched, or was.
    pub(super) fn ring(&mut self) {
        let count = self.model.borrow().bells.tags.len();
        if count == 0 || !self.random.one_in(6) {
            return;
        }
        let which = self.random.below(count);
        let tag = self.model.borrow().bells.tags[which];
        self.stale += u64::from(tag.is_none());
        self.model.borrow_mut().bells.rings = tag;
        self.reactor.stage.serve_watched(Token(FIRST + which));
        let left = self.model.borrow_mut().bells.rings.take();
        if left.is_some() {
            self.fail(format!("nobody was told that {left:?} is ready"));
        }
    }
}
