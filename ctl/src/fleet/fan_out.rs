//! One question to many hosts at once.

use std::{future::Future, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet};

use super::Member;
use crate::error::{Exit, Failure};

/// What came of one host.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) member: Member,
    pub(crate) result: Result<T, Failure>,
}

/// Asks every host, `at_once` at a time, and hands each answer to `seen` as it comes. All answers, in the fleet's order.
pub(crate) async fn each<T, F>(
    members: &[Member],
    at_once: usize,
    ask: impl Fn(Member) -> F,
    mut seen: impl FnMut(&Answer<T>),
) -> Vec<Answer<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(at_once.max(1)));
    let mut asked = JoinSet::new();
    for (index, member) in members.iter().enumerate() {
        let (turns, question, member) = (turns.clone(), ask(member.clone()), member.clone());
        asked.spawn(async move {
            let _turn = turns.acquire_owned().await;
            (index, Answer { member, result: question.await })
        });
    }
    let mut answers: Vec<Option<Answer<T>>> = members.iter().map(|_| None).collect();
    while let Some(ended) = asked.join_next().await {
        // A task that panicked is told below.
        let Ok((index, answer)) = ended else { continue };
        seen(&answer);
        answers[index] = Some(answer);
    }
    let told = |(answer, member): (Option<Answer<T>>, &Member)| {
        answer.unwrap_or_else(|| Answer {
            member: member.clone(),
            result: Err(Failure::new(Exit::Internal, "the task that asked it ended", "")),
        })
    };
    answers.into_iter().zip(members).map(told).collect()
}
