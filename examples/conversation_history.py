"""The specification's "Using Conversation History": several turns, kept in a list of your own."""

import asyncio

from neuroroute import LMStudioAdapter, LMStudioError


async def conversation_history() -> None:
    messages = [
        {"role": "system", "content": "You are a helpful AI assistant with expertise in programming."},
        {"role": "user", "content": "I need help with a JavaScript function."},
        {
            "role": "assistant",
            "content": "I'd be happy to help with your JavaScript function. What specifically do you need help with?",
        },
        {"role": "user", "content": "How do I write a function to calculate the Fibonacci sequence?"},
    ]
    async with LMStudioAdapter("llama3", max_tokens=200) as adapter:
        try:
            response = await adapter.generate_completion("", messages=messages)
            print("Response:", response.text)

            # Add the assistant's response to the conversation, and continue it.
            messages.append({"role": "assistant", "content": response.text})
            messages.append({"role": "user", "content": "Can you optimize that function for better performance?"})

            follow_up = await adapter.generate_completion("", messages=messages)
            print("Follow-up response:", follow_up.text)
        except LMStudioError as error:
            print("Error in conversation history:", error)


if __name__ == "__main__":
    asyncio.run(conversation_history())
