use std::{
    collections::HashMap,
    io,
    os::fd::{AsRawFd, OwnedFd},
    rc::Rc,
};

use mio::{Interest, Poll, Registry, Token, unix::SourceFd};

use crate::Tag;

/// Descriptors that are the user's, watched for him by a reactor.
#[derive(Default)]
pub(crate) struct Watched {
    by_number: HashMap<u32, Entry>,
    next: u32,
}

struct Entry {
    fd: Rc<OwnedFd>,
    tag: Tag,
}

/// Tokens from here on are numbers of watched descriptors; below are the waker's and the listeners', above 32 bits ids.
const FIRST: usize = 1 << 16;

/// Whether a descriptor can be watched at all; regular files cannot.
pub(crate) fn try_out(fd: &OwnedFd) -> io::Result<()> {
    Poll::new()?.registry().register(&mut SourceFd(&fd.as_raw_fd()), Token(0), Interest::READABLE)
}

impl Watched {
    /// Watches for reading, edge-triggered. Numbers come round after 2^32 of them: a stale event meets none.
    pub(crate) fn insert(
        &mut self,
        registry: &Registry,
        fd: OwnedFd,
        tag: Tag,
    ) -> Result<(), (OwnedFd, io::Error)> {
        let most = u32::MAX - FIRST as u32;
        while self.next >= most || self.by_number.contains_key(&self.next) {
            self.next = if self.next >= most { 0 } else { self.next + 1 };
        }
        let token = Token(FIRST + self.next as usize);
        if let Err(error) = registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE) {
            return Err((fd, error));
        }
        self.by_number.insert(self.next, Entry { fd: Rc::new(fd), tag });
        self.next += 1;
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Whether a token is of a watched descriptor's, and not the waker's or a listener's.
    pub(crate) fn has(token: Token) -> bool {
        token.0 >= FIRST
    }

    /// The descriptor that an event's token names.
    pub(crate) fn find(&self, token: Token) -> Option<(Tag, Rc<OwnedFd>)> {
        let number = u32::try_from(token.0.checked_sub(FIRST)?).ok()?;
        self.by_number.get(&number).map(|entry| (entry.tag, Rc::clone(&entry.fd)))
    }

    /// Forgets all with that tag; how many there were.
    pub(crate) fn remove(&mut self, registry: &Registry, tag: Tag) -> usize {
        let before = self.by_number.len();
        self.by_number.retain(|_, entry| {
            if entry.tag == tag {
                // Not by closing alone: the user may hold a duplicate.
                let _ = registry.deregister(&mut SourceFd(&entry.fd.as_raw_fd()));
            }
            entry.tag != tag
        });
        before - self.by_number.len()
    }
}
