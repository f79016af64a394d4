//! What changes dataspaces.

use super::{Data, Model, Shows, Step, WORD};
use crate::memory::Dataspace;
use crate::memory::tests::world::{clear, copy_in};
use l4::{Error, PAGE_SIZE};

impl Model {
    pub(super) fn child(&mut self, parent: usize) {
        let Some(data) = self.held(parent) else { return };
        let real = Dataspace::create_child(self.account, data.real);
        assert_eq!(real.is_ok(), data.sealed);
        if let Ok(real) = real {
            let words = data.words.clone();
            self.data.push(Data {
                real,
                words,
                sealed: false,
                held: true,
                parent: Some(parent),
                fixed: false,
            });
        }
    }

    /// The dataspace and its children are gone, and their views are reserved.
    pub(super) fn delete(&mut self, index: usize) {
        self.data[index].held = false;
        for page in self.spaces.iter_mut().flat_map(|space| space.pages.values_mut()) {
            if let Shows::Shared(data, _) | Shows::Private(data, _) | Shows::Copy(_, data, _) = page.shows
                && data == index
            {
                page.shows = Shows::Nothing;
            }
        }
        for child in index + 1..self.data.len() {
            if self.data[child].parent == Some(index) {
                self.delete(child);
            }
        }
    }

    /// What changes a dataspace's contents from outside.
    pub(super) fn change(&mut self, step: Step) {
        let (Step::Clear(index, from, pages) | Step::Copy(index, _, from, _, pages)) = step else {
            let Step::Write(index, page, value) = step else {
                return;
            };
            let Some(data) = self.data.get_mut(index).filter(|data| data.held) else {
                return;
            };
            let expected = match data.words.get_mut(page as usize) {
                None => Err(Error::Range),
                Some(_) if data.sealed => Err(Error::AccessDenied),
                Some(word) => {
                    *word = value;
                    Ok(())
                }
            };
            assert_eq!(
                data.real.write(page * PAGE_SIZE + WORD, &value.to_ne_bytes()),
                expected
            );
            return;
        };
        let Some(data) = self.held(index) else { return };
        if data.sealed || from + pages > data.words.len() as u64 {
            return;
        }
        let range = from as usize..(from + pages) as usize;
        if let Step::Copy(_, source, _, at, _) = step {
            let Some(source) = self.held(source).filter(|_| source != index) else {
                return;
            };
            let Some(words) = source
                .words
                .get(at as usize..(at + pages) as usize)
                .map(<[u64]>::to_vec)
            else {
                return;
            };
            copy_in(
                &data.real,
                from * PAGE_SIZE,
                &source.real,
                at * PAGE_SIZE,
                pages * PAGE_SIZE,
            );
            self.data[index].words[range].copy_from_slice(&words);
        } else if data.fixed {
            let refused = clear(&data.real, from * PAGE_SIZE, pages * PAGE_SIZE);
            assert_eq!(refused, Err(Error::Invalid));
        } else {
            clear(&data.real, from * PAGE_SIZE, pages * PAGE_SIZE).unwrap();
            self.data[index].words[range].fill(0);
        }
    }
}
