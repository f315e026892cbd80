use std::time::Duration;

use slab::Slab;

use crate::{
    Listener, ListenerId, Policy,
    listener::WaterMarks,
    protocol::{Frame, Framing},
};

/// What the connections of one listener, or dialled alike, have in common.
pub(crate) struct Profile {
    pub(crate) listener: Option<ListenerId>,
    framing: Framing,
    pub(crate) marks: WaterMarks,
    pub(crate) policy: Policy,
    pub(crate) authentication: Option<Duration>,
    /// Dialled connections that follow it; a listener's stays for good.
    users: usize,
}

impl Profile {
    #[inline]
    pub(crate) fn frame(&self) -> &Frame {
        &self.framing.0
    }
}

/// A reactor's profiles: the listeners' in their order, then those of dialled connections.
pub(crate) struct Profiles(Slab<Profile>);

impl Profiles {
    pub(crate) fn new(listeners: &[Listener]) -> Self {
        let profiles = listeners.iter().enumerate().map(|(index, listener)| {
            let profile = Profile {
                listener: Some(ListenerId(index as u16)),
                framing: listener.framing.clone(),
                marks: listener.marks,
                policy: listener.policy,
                authentication: listener.authentication,
                users: 1,
            };
            (index, profile)
        });
        Profiles(profiles.collect())
    }

    #[inline]
    pub(crate) fn get(&self, profile: u16) -> Option<&Profile> {
        self.0.get(usize::from(profile))
    }

    /// The profile of one more dialled connection: shared with those that were dialled alike. None when 65,536 kinds are
    /// in use at once.
    pub(crate) fn join(&mut self, framing: &Framing, marks: WaterMarks, policy: Policy) -> Option<u16> {
        let alike = |profile: &Profile| {
            profile.listener.is_none()
                && profile.marks == marks
                && profile.policy == policy
                && profile.framing.is_like(framing)
        };
        if let Some((index, profile)) = self.0.iter_mut().find(|(_, profile)| alike(profile)) {
            profile.users += 1;
            return u16::try_from(index).ok();
        }
        let index = u16::try_from(self.0.vacant_key()).ok()?;
        let framing = framing.clone();
        self.0.insert(Profile { listener: None, framing, marks, policy, authentication: None, users: 1 });
        Some(index)
    }

    /// A connection is gone.
    pub(crate) fn leave(&mut self, profile: u16) {
        let index = usize::from(profile);
        let Some(found) = self.0.get_mut(index).filter(|found| found.listener.is_none()) else { return };
        found.users -= 1;
        if found.users == 0 {
            self.0.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_dialled_alike_share_a_profile_and_the_last_one_takes_it_along() {
        let mut profiles = Profiles::new(&["tcp://127.0.0.1:0".into()]);
        let (marks, lines) = (WaterMarks::default(), Framing::lines(80));
        let one = profiles.join(&lines, marks, Policy::Refuse).unwrap();
        assert_eq!(profiles.join(&Framing::lines(80), marks, Policy::Refuse), Some(one));
        assert_ne!(profiles.join(&Framing::lines(81), marks, Policy::Refuse), Some(one));
        assert_ne!(profiles.join(&Framing::raw(), marks, Policy::Refuse), Some(one));
        profiles.leave(one);
        assert!(profiles.get(one).is_some());
        profiles.leave(one);
        assert!(profiles.get(one).is_none());
        profiles.leave(0);
        assert!(profiles.get(0).is_some(), "a listener's stays");
    }
}
