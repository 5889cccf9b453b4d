"""The client of an endpoint: in order, cached, resumed, counted, and one line for what fails."""

import pytest

from common.habits.chat import KEY, Chat, ChatError


def test_answers_come_in_order_and_are_paid_for_once(endpoint, asked, monkeypatch):
    monkeypatch.setenv(KEY, "secret")
    with endpoint.chat(price=(1.0, 2.0)) as chat:
        answers = chat.answers(asked("a", "b", "a"))
        assert [a.text for a in answers] == ["A", "B", "A"]
        assert len(endpoint.bodies) == chat.cost.paid == 2 and chat.cost.cached == 1
        assert chat.cost.dollars == pytest.approx((20 * 1 + 10 * 2) / 1e6)
        assert "20 + 10 tokens, $0.00" in str(chat.cost)
    path, headers, body = endpoint.bodies[0]
    assert path == "/v1/chat/completions" and headers["authorization"] == "Bearer secret"
    assert body["model"] == "m" and body["max_tokens"] == 9 and body["temperature"] == 0.0
    assert "secret" not in chat.cache.read_text()
    with endpoint.chat() as again:
        assert [a.text for a in again.answers(asked("b", "c"))] == ["B", "C"]
        assert again.cost.paid == 1 and again.cost.dollars is None
    with endpoint.chat(temperature=0.5) as other:  # another request
        other.answers(asked("a"))
    assert len(endpoint.bodies) == 4


def test_what_passes_is_tried_again_and_what_stays_is_one_line(endpoint, asked):
    endpoint.plan += [503, 429]
    with endpoint.chat() as chat:
        assert chat.answers(asked("a"))[0].text == "A"
    endpoint.plan += [400]
    with endpoint.chat() as chat, pytest.raises(ChatError, match="400 .*no"):
        chat.answers(asked("x"))
    endpoint.plan += [500] * 3
    with endpoint.chat() as chat, pytest.raises(ChatError, match="500 .*3 times in a row"):
        chat.answers(asked("y"))
    assert endpoint.chat()._known and len(endpoint.chat()._known) == 1


def test_a_killed_command_goes_on(endpoint, asked):
    with endpoint.chat() as chat:
        chat.answers(asked("a", "b"))
    text = chat.cache.read_text()
    chat.cache.write_text(text[:-20])  # killed while it wrote the second answer
    with endpoint.chat() as chat:
        assert [a.text for a in chat.answers(asked("a", "b"))] == ["A", "B"]
        assert chat.cost.paid == 1
    assert len(chat.cache.read_text().splitlines()) == 2
    chat.cache.write_text("{}\n")
    with pytest.raises(ValueError, match="line 1 is no cached answer"):
        endpoint.chat()


def test_an_answer_of_another_form(endpoint, asked, monkeypatch):
    endpoint.answer = lambda messages: None
    with endpoint.chat() as chat:
        assert chat.answers(asked("a"))[0].text == ""
    with pytest.raises(ValueError, match="--url"):
        Chat("ftp://x", "m", chat.cache, max_tokens=1, temperature=0)
