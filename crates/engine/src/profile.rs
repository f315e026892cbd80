use slab::Slab;

use crate::{
    Listener, ListenerId, Tls,
    protocol::{Frame, Framing},
    rules::Rules,
};

/// What the connections of one listener, or dialled alike, have in common.
pub(crate) struct Profile {
    pub(crate) listener: Option<ListenerId>,
    framing: Framing,
    pub(crate) rules: Rules,
    /// What seals the bytes of those who come through the listener.
    pub(crate) tls: Option<Tls>,
    /// Connections that follow it; a listener's own stays for good.
    users: usize,
}

impl Profile {
    #[inline]
    pub(crate) fn frame(&self) -> &Frame {
        self.framing.frame()
    }
}

/// A reactor's profiles: the listeners' in their order, then those of dialled connections and of those that have changed
/// their framing.
pub(crate) struct Profiles {
    profiles: Slab<Profile>,
    listeners: usize,
}

impl Profiles {
    pub(crate) fn new(listeners: &[Listener]) -> Self {
        let profiles = listeners.iter().enumerate().map(|(index, listener)| {
            let profile = Profile {
                listener: Some(ListenerId(index as u16)),
                framing: listener.framing.clone().unwrap_or_else(Framing::raw),
                rules: listener.rules,
                tls: listener.tls.clone(),
                users: 1,
            };
            (index, profile)
        });
        Profiles { profiles: profiles.collect(), listeners: listeners.len() }
    }

    #[inline]
    pub(crate) fn get(&self, profile: u16) -> Option<&Profile> {
        self.profiles.get(usize::from(profile))
    }

    /// The profile of one more connection that came through no listener: shared with those that are alike. None when
    /// 65,536 kinds are in use at once.
    pub(crate) fn join(&mut self, framing: &Framing, rules: Rules) -> Option<u16> {
        self.join_as(None, framing, rules)
    }

    /// The profile of a connection that goes on with another framing.
    pub(crate) fn change(&mut self, profile: u16, framing: &Framing) -> Option<u16> {
        let Profile { listener, rules, .. } = *self.get(profile)?;
        let changed = self.join_as(listener, framing, rules)?;
        self.leave(profile);
        Some(changed)
    }

    fn join_as(&mut self, listener: Option<ListenerId>, framing: &Framing, rules: Rules) -> Option<u16> {
        let alike = |profile: &Profile| {
            profile.listener == listener && profile.rules == rules && profile.framing.is_like(framing)
        };
        if let Some((index, profile)) = self.profiles.iter_mut().find(|(_, profile)| alike(profile)) {
            profile.users += 1;
            return u16::try_from(index).ok();
        }
        let index = u16::try_from(self.profiles.vacant_key()).ok()?;
        self.profiles.insert(Profile { listener, framing: framing.clone(), rules, tls: None, users: 1 });
        Some(index)
    }

    /// A listener for one more connection, and its profile's number is its own: the test kit has them made as they are
    /// wanted. None as with [`join`](Profiles::join).
    pub(crate) fn listen(&mut self, framing: &Framing) -> Option<ListenerId> {
        let (first, rules) = (self.listeners, Rules::default());
        let alike = |(index, profile): &(usize, &mut Profile)| {
            let is_own = profile.listener.is_some_and(|listener| usize::from(listener.0) == *index);
            *index >= first && is_own && profile.rules == rules && profile.framing.is_like(framing)
        };
        if let Some((_, profile)) = self.profiles.iter_mut().find(alike) {
            profile.users += 1;
            return profile.listener;
        }
        let listener = Some(ListenerId(u16::try_from(self.profiles.vacant_key()).ok()?));
        // One of them is the listener itself, which stays.
        self.profiles.insert(Profile { listener, framing: framing.clone(), rules, tls: None, users: 2 });
        listener
    }

    /// A connection is gone, or has changed.
    pub(crate) fn leave(&mut self, profile: u16) {
        let index = usize::from(profile);
        // Accepted connections follow their listener's without being counted.
        let Some(found) = self.profiles.get_mut(index).filter(|_| index >= self.listeners) else { return };
        found.users -= 1;
        if found.users == 0 {
            self.profiles.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_dialled_alike_share_a_profile_and_the_last_one_takes_it_along() {
        let mut profiles = Profiles::new(&["tcp://127.0.0.1:0".into()]);
        let (rules, lines) = (Rules::default(), Framing::lines(80));
        let one = profiles.join(&lines, rules).unwrap();
        assert_eq!(profiles.join(&Framing::lines(80), rules), Some(one));
        assert_ne!(profiles.join(&Framing::lines(81), rules), Some(one));
        assert_ne!(profiles.join(&Framing::raw(), rules), Some(one));
        profiles.leave(one);
        assert!(profiles.get(one).is_some());
        profiles.leave(one);
        assert!(profiles.get(one).is_none());
        profiles.leave(0);
        assert!(profiles.get(0).is_some(), "a listener's stays");
    }

    #[test]
    fn who_changes_the_framing_keeps_the_listener_and_comes_back_to_its_profile() {
        let mut profiles = Profiles::new(&["tcp://127.0.0.1:0".into(), "tcp://127.0.0.1:0".into()]);
        let changed = profiles.change(1, &Framing::lines(80)).unwrap();
        assert_eq!(profiles.get(changed).unwrap().listener, Some(ListenerId(1)));
        assert_eq!(profiles.change(0, &Framing::lines(80)).map(|other| other == changed), Some(false));
        assert_eq!(profiles.change(changed, &Framing::raw()), Some(1));
        assert!(profiles.get(changed).is_none() && profiles.get(1).is_some());
    }
}
