//! Counters that say what they mean: each has its name, its meaning and its number, for logs and for metrics.

use std::fmt::Write as _;

/// One counter at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Its name, such as `hosts_lost`.
    pub name: &'static str,
    /// The lines of its documentation.
    pub meaning: &'static [&'static str],
    /// Its number.
    pub count: u64,
}

impl Described {
    /// Its meaning as one line of plain text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.meaning {
            let _ = write!(text, "{}{}", if text.is_empty() { "" } else { " " }, line.trim());
        }
        let plain = text.replace("[`", "").replace("`]", "").replace('`', "");
        // A path names the constant in its last part.
        let words = plain.split(' ').map(|word| word.rsplit("::").next().unwrap_or(word));
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Declares a struct of counters, from 0, with `named()` for logs and `described()` for metrics, in the order of declaration.
#[macro_export]
macro_rules! counters {
    (
        $(#[$about:meta])*
        $visibility:vis struct $struct:ident {
            $($(#[doc = $meaning:literal])* pub $name:ident: u64,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        $visibility struct $struct {
            $($(#[doc = $meaning])* pub $name: u64,)*
        }

        impl $struct {
            /// Every counter by name.
            $visibility fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }

            /// Every counter with its meaning.
            $visibility fn described(&self) -> Vec<$crate::counters::Described> {
                vec![$($crate::counters::Described {
                    name: stringify!($name),
                    meaning: &[$($meaning),*],
                    count: self.$name,
                }),*]
            }
        }
    };
}

/// The same with counters that any thread may raise.
#[macro_export]
macro_rules! atomic_counters {
    (
        $(#[$about:meta])*
        $visibility:vis struct $struct:ident {
            $($(#[doc = $meaning:literal])* pub $name:ident: AtomicU64,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        $visibility struct $struct {
            $($(#[doc = $meaning])* pub $name: std::sync::atomic::AtomicU64,)*
        }

        impl $struct {
            /// Every counter by name.
            $visibility fn named(&self) -> Vec<(&'static str, u64)> {
                self.described().into_iter().map(|counter| (counter.name, counter.count)).collect()
            }

            /// Every counter with its meaning.
            $visibility fn described(&self) -> Vec<$crate::counters::Described> {
                vec![$($crate::counters::Described {
                    name: stringify!($name),
                    meaning: &[$($meaning),*],
                    count: self.$name.load(std::sync::atomic::Ordering::Relaxed),
                }),*]
            }
        }
    };
}

#[cfg(test)]
mod tests {
    crate::counters! {
        /// Some.
        struct Some {
            /// One that has to do with [`crate::counters::Described`],
            /// in two lines.
            pub one: u64,
            /// Another.
            pub two: u64,
        }
    }

    #[test]
    fn every_counter_has_its_name_and_its_meaning() {
        let some = Some { one: 1, two: 2 };
        assert_eq!(some.named(), [("one", 1), ("two", 2)]);
        let [one, two] = some.described()[..] else { panic!("two counters") };
        assert_eq!(one.text(), "One that has to do with Described, in two lines.");
        assert_eq!((two.name, two.text().as_str(), two.count), ("two", "Another.", 2));
    }
}
