use std::sync::mpsc::{Receiver, TryRecvError, channel};

use super::*;

/// Operations on a mailbox, and what each came to.
struct Desk {
    mailbox: Mailbox,
    next: u64,
}

/// One operation.
struct Wait {
    key: Key,
    delivery: Receiver<Delivery>,
}

impl Desk {
    fn new(capacity: Option<usize>) -> Desk {
        Desk { mailbox: Mailbox::new(capacity), next: 0 }
    }

    fn begin(&mut self, process: u32, begin: impl FnOnce(&Mailbox, Key, Deliver)) -> Wait {
        self.next += 1;
        let (send, delivery) = channel();
        let deliver = move |given| send.send(given).expect("the test holds the receiver");
        let key = (process, self.next);
        begin(&self.mailbox, key, Box::new(deliver));
        Wait { key, delivery }
    }

    fn put(&mut self, value: i32) -> Wait {
        self.begin(2, |mailbox, key, deliver| mailbox.put(key, Item::own(value), deliver))
    }

    fn get(&mut self, wish: Wish) -> Wait {
        self.begin(3, |mailbox, key, deliver| mailbox.get(key, wish, deliver))
    }

    /// All values that can be taken, oldest first.
    fn rest(&mut self) -> Vec<i32> {
        let count = self.mailbox.len();
        (0..count).map(|_| self.get(Wish::Take).value()).collect()
    }
}

impl Wait {
    fn state(&self) -> &'static str {
        match self.delivery.try_recv() {
            Ok(Delivery::Item(_)) => "item",
            Ok(Delivery::Done) => "done",
            Ok(Delivery::Closed) => "closed",
            Err(TryRecvError::Empty) => "waits",
            Err(TryRecvError::Disconnected) => "forgotten",
        }
    }

    fn value(&self) -> i32 {
        match self.delivery.try_recv() {
            Ok(Delivery::Item(item)) => item.into_value().expect("an own value needs no reading"),
            _ => panic!("no value was delivered"),
        }
    }
}

#[test]
fn values_come_in_the_order_in_which_they_were_put() {
    let mut desk = Desk::new(Some(3));
    for value in 1..=3 {
        assert_eq!(desk.put(value).state(), "done");
    }
    assert_eq!(desk.get(Wish::Fetch).value(), 1, "which stays");
    assert_eq!(desk.rest(), [1, 2, 3]);
}

#[test]
fn a_full_mailbox_lets_putters_in_one_by_one() {
    let mut desk = Desk::new(Some(1));
    desk.put(1);
    let (second, third) = (desk.put(2), desk.put(3));
    assert_eq!((second.state(), third.state(), desk.mailbox.len()), ("waits", "waits", 3));
    assert_eq!(desk.get(Wish::Take).value(), 1);
    assert_eq!((second.state(), third.state()), ("done", "waits"));
    assert_eq!(desk.get(Wish::Take).value(), 2);
    assert_eq!(third.state(), "done");
}

#[test]
fn takers_are_served_in_the_order_in_which_they_came() {
    let mut desk = Desk::new(None);
    let (first, second) = (desk.get(Wish::Take), desk.get(Wish::Take));
    desk.put(1);
    assert_eq!(second.state(), "waits");
    desk.put(2);
    assert_eq!((first.value(), second.value()), (1, 2));
}

#[test]
fn who_looks_or_waits_takes_nothing() {
    let mut desk = Desk::new(Some(1));
    let (look, wait) = (desk.get(Wish::Fetch), desk.get(Wish::Wait));
    let take = desk.get(Wish::Take);
    desk.put(5);
    assert_eq!((look.value(), wait.state(), take.value()), (5, "done", 5));
}

#[test]
fn without_capacity_a_value_goes_from_hand_to_hand() {
    let mut desk = Desk::new(Some(0));
    let put = desk.put(7);
    assert_eq!((put.state(), desk.mailbox.len()), ("waits", 1));
    assert_eq!(desk.get(Wish::Fetch).value(), 7, "is offered");
    assert_eq!(put.state(), "waits");
    assert_eq!(desk.get(Wish::Take).value(), 7);
    assert_eq!(put.state(), "done");
    let take = desk.get(Wish::Take);
    assert_eq!(desk.put(8).state(), "done");
    assert_eq!(take.value(), 8);
}

#[test]
fn a_closed_mailbox_gives_what_is_in_it_and_refuses_the_rest() {
    let mut desk = Desk::new(Some(1));
    desk.put(1);
    let waiting = desk.put(2);
    desk.mailbox.close();
    assert_eq!((waiting.state(), desk.put(3).state()), ("closed", "closed"));
    assert!(!desk.mailbox.is_open());
    assert_eq!(desk.get(Wish::Take).value(), 1);
    for wish in [Wish::Take, Wish::Fetch, Wish::Wait] {
        assert_eq!(desk.get(wish).state(), "closed");
    }
}

#[test]
fn closing_tells_those_who_wait_for_a_value() {
    let mut desk = Desk::new(Some(1));
    let waits = [Wish::Take, Wish::Fetch, Wish::Wait].map(|wish| desk.get(wish));
    desk.mailbox.close();
    assert_eq!(waits.map(|wait| wait.state()), ["closed"; 3]);
}

#[test]
fn a_wait_that_was_given_up_gets_and_leaves_nothing() {
    let mut desk = Desk::new(Some(1));
    let take = desk.get(Wish::Take);
    assert!(desk.mailbox.cancel(take.key).is_some());
    desk.put(1);
    let put = desk.put(2);
    assert!(desk.mailbox.cancel(put.key).is_some());
    assert!(desk.mailbox.cancel(put.key).is_none(), "is given up already");
    assert_eq!((take.state(), put.state()), ("forgotten", "forgotten"));
    assert_eq!(desk.rest(), [1]);
}

#[test]
fn what_has_been_delivered_cannot_be_given_up() {
    let mut desk = Desk::new(Some(1));
    let take = desk.get(Wish::Take);
    desk.put(1);
    assert!(desk.mailbox.cancel(take.key).is_none());
    desk.mailbox.put_back(Item::own(take.value()));
    let _second = desk.put(2);
    assert_eq!(desk.rest(), [1, 2], "back at the front, though there was no room");
}

#[test]
fn what_goes_back_is_given_to_whoever_waits() {
    let mut desk = Desk::new(Some(0));
    let take = desk.get(Wish::Take);
    desk.mailbox.put_back(Item::own(4));
    assert_eq!(take.value(), 4);
}

#[test]
fn a_dead_process_waits_no_more() {
    let mut desk = Desk::new(Some(1));
    desk.put(1);
    let put = desk.put(2);
    desk.mailbox.forget(2);
    assert_eq!(put.state(), "forgotten");
    assert_eq!(desk.rest(), [1], "what was in stays");
    let take = desk.get(Wish::Take);
    desk.mailbox.forget(3);
    desk.put(3);
    assert_eq!((take.state(), desk.rest()), ("forgotten", vec![3]));
}
