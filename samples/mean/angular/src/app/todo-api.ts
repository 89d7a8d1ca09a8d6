import { HttpClient } from '@angular/common/http';
import { inject, Injectable } from '@angular/core';
import { Observable } from 'rxjs';

export interface Todo {
  _id: string;
  title: string;
  done: boolean;
}

/** The express service, which nginx serves below /api. */
@Injectable({ providedIn: 'root' })
export class TodoApi {
  private readonly http = inject(HttpClient);
  private readonly url = '/api/todos';

  list(): Observable<Todo[]> {
    return this.http.get<Todo[]>(this.url);
  }

  add(title: string): Observable<Todo> {
    return this.http.post<Todo>(this.url, { title });
  }

  setDone(todo: Todo, done: boolean): Observable<Todo> {
    return this.http.patch<Todo>(`${this.url}/${todo._id}`, { done });
  }

  remove(todo: Todo): Observable<void> {
    return this.http.delete<void>(`${this.url}/${todo._id}`);
  }
}
